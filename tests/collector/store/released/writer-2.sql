-- The statements of the released writer, in their order, for one record without a clock of its own.
UPDATE receive_order SET last_no = (receive_order.last_no + 1) RETURNING last_no;
INSERT INTO results (id, receive_no, probe_id, stream_id, seq, run_id, kind, kind_version, schema, tps_id, regency, site,
  operator_plmn, operator_name, outcome, failure_code, verdict_owner, verdict_cause, lat, lon, started_at, received_at,
  corrected_at, boot_id, since_boot_s, carrier, line, sha256)
VALUES (:id, :receive_no, :probe_id, :stream_id, :seq, :run_id, :kind, :kind_version, :schema, :tps_id, :regency, :site,
  :operator_plmn, :operator_name, :outcome, :failure_code, :verdict_owner, :verdict_cause, :lat, :lon, :started_at,
  :received_at, :corrected_at, :boot_id, :since_boot_s, :carrier, :line, :sha256)
ON CONFLICT (id) DO NOTHING RETURNING id;
SELECT id, sha256 FROM results WHERE id = :id;
INSERT INTO tallies (scope, subject, outcome, count, last_received_at)
VALUES (:scope, :subject, :outcome, 1, :received_at)
ON CONFLICT (scope, subject, outcome)
DO UPDATE SET count = (tallies.count + excluded.count), last_received_at = excluded.last_received_at
