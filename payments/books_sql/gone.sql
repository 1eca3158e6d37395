-- What this day's statement showed and does not show any more.
update payments_difference difference set state = 'gone', ended_at = statement_timestamp()
 where difference.channel = %(channel)s and difference.day = %(day)s and difference.ended_at is null
   and not exists (select from found where found.kind = difference.kind and found.subject = difference.subject)
returning difference.kind, difference.subject;
