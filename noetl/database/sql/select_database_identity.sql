-- Tell databases apart, also copies that are restored beside each other, and schemas that are made anew.
SELECT concat_ws('/', system_identifier,
                 (SELECT oid FROM pg_database WHERE datname = current_database()),
                 (SELECT instance FROM schema_version LIMIT 1))
  FROM pg_control_system()
