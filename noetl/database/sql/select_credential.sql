-- Read one credential, encrypted as it is.
SELECT name, type, key_id, data, description, created_at, updated_at FROM credential WHERE name = %(name)s
