"""HTTP: who may ask, what is asked, what is answered. Imports files, products, live and pg.

Read in this order: errors, the body of every error; security, the checks of every request; reading, what a request says;
handlers, the API; answers, what it answers; websocket, the handshake and the messages of a client; page, the files of the page.
"""
