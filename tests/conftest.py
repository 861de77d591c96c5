"""What every test shares."""

import pytest

# Its asserts are in a package that is not a test module; a failing one has to say what it saw.
pytest.register_assert_rewrite("bide.testing.store_contract")
