"""What a product is, and the SQL of products. Imports pg; knows neither HTTP nor sockets.

Read in this order: models, which products are valid; exact_json; repository, one product, read and changed; batching, changes
that arrive together; listing, many, also as they were.
"""
