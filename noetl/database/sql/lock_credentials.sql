-- Lock all credentials, in the order of their names, to encrypt them anew.
SELECT name, type, key_id, data FROM credential ORDER BY name FOR UPDATE
