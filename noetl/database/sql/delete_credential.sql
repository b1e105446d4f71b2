-- Remove a credential.
DELETE FROM credential WHERE name = %(name)s
