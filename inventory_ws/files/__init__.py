"""Files of products, and the SQL of an import. Imports products and pg; nothing of HTTP but the keys of the application.

Read in this order: reader, which uses all but the last: csvfile and workbook, the cells of a file; columns, which of them is which
field; values, what they say. Then the SQL: importing, and undoing, which takes an import back.
"""
