"""A checkout over three processes and two databases, joined by checkpoint handoffs.

    bide worker examples.checkout.shop:app --pipeline checkout     # takes the money
    bide worker examples.checkout.shop:app --pipeline dispatch     # packs, on the same database
    bide serve examples.checkout.delivery:app                      # delivers, with its own database

The shop's two pipelines share a store: a parcel to pack is there in the very commit that ends its
order. The delivery is another deployment: each packed parcel is offered to it over HTTP until it has
taken it, once.
"""
