-- One row for each difference, however often it is found. One that has changed, or that the channel's own statement
-- shows after a file that somebody handed in, is looked at anew;
-- its note may say by now why it is a person's, and does not count.
insert into payments_difference (channel, day, kind, severity, subject, number, currency, theirs, ours, note, state, is_by_hand)
select distinct on (found.kind, found.subject)
       %(channel)s, %(day)s, found.kind, severity.severity, found.subject, found.number, found.currency, found.theirs,
       found.ours, found.note, 'open', %(by_hand)s
  from found join jsonb_to_recordset(%(severities)s::jsonb) as severity (kind text, severity int) using (kind)
    on conflict (channel, kind, subject) where ended_at is null do update
   set theirs = excluded.theirs, ours = excluded.ours, currency = excluded.currency, note = excluded.note, state = 'open',
       is_by_hand = excluded.is_by_hand
 where (payments_difference.theirs, payments_difference.ours, payments_difference.currency)
       is distinct from (excluded.theirs, excluded.ours, excluded.currency)
    or payments_difference.is_by_hand and not excluded.is_by_hand;
