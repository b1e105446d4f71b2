-- Read the secret that makes keys of the inbox unguessable.
SELECT secret FROM noetl_inbox.noetl_seal
