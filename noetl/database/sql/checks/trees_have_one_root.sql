-- a child's root is its parent's
SELECT e.execution_id, format('parent %s, root %s', e.parent_execution_id, e.root_execution_id)
  FROM execution AS e LEFT JOIN execution AS p ON p.execution_id = e.parent_execution_id
 WHERE e.root_execution_id <> coalesce(p.root_execution_id, e.execution_id)
