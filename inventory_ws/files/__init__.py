"""Files of products, and the SQL of an import. Imports products and pg; knows neither HTTP nor sockets.

Read in this order: csvfile, the text of a file; importing, its SQL.
"""
