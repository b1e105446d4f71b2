"""NOETL_HOME: folders and files of one account only, and the socket on which its server listens."""
