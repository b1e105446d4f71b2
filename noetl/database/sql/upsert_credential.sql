-- Put a credential in the place of the one of its name; say whether it is the first.
INSERT INTO credential (name, type, key_id, data, description, created_at, updated_at)
VALUES (%(name)s, %(type)s, %(key_id)s, %(data)s, %(description)s, clock_timestamp(), clock_timestamp())
ON CONFLICT (name) DO UPDATE
   SET type = excluded.type, key_id = excluded.key_id, data = excluded.data, description = excluded.description,
       updated_at = excluded.updated_at
RETURNING xmax = 0
