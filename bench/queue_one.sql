-- Take one from the head of a plain queue.
WITH head AS (SELECT id FROM queue WHERE visible_at <= clock_timestamp() ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) UPDATE queue q SET visible_at = clock_timestamp() + interval '1 hour', reads = reads + 1 FROM head WHERE q.id = head.id RETURNING q.id, q.message;
