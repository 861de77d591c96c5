"""The restaurant approval with a restaurant that has no time: for answers that come too late."""

from bide import App, Await, Inbox, Pipeline
from examples.restaurant_approval import orders

ask = Await("Ask In A Hurry", str, bool, via=Inbox(), timeout="20ms")
hurried = Pipeline("hurried", str).wait(ask)
app = App(hurried, orders)
