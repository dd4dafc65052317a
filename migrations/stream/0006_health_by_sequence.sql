-- Health samples in the order in which their transcoder took them: times are its clock's.
DROP INDEX broadcast_events_health;
CREATE INDEX broadcast_events_health ON broadcast_events (stream_id, epoch DESC, seq DESC)
    WHERE type = 'health';
