"""What a product is, and the SQL of products. Imports pg; nothing of HTTP but the keys of the application.

Read in this order: models, which products are valid; exact_json; repository, one product, read and changed; sales, several;
batching, changes that arrive together; listing, many, also as they were.
"""
