-- Take a batch from the head of a plain queue, and delete it when done.
WITH head AS (SELECT id FROM queue WHERE visible_at <= clock_timestamp() ORDER BY id LIMIT :batch FOR UPDATE SKIP LOCKED), taken AS (UPDATE queue q SET visible_at = clock_timestamp() + interval '1 hour', reads = reads + 1 FROM head WHERE q.id = head.id RETURNING q.id, q.message) SELECT coalesce(array_agg(id), '{}') AS ids, count(message) AS messages FROM taken \gset
DELETE FROM queue WHERE id = ANY (:ids::bigint[]);
