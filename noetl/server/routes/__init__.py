"""The routes of the API, one module for each kind of thing, with the models of their bodies and answers."""
