-- One settle as plain statements, for pgbench: what the shop writes when a callback settles, and nothing decided.
-- Words with $$ are filled in from what the shop itself wrote; :nth counts the payments of the batch over all clients.
\set step :step + 1
\set nth :step * :client_count + :client_id + 1
begin;
select id as order_id, number as order_number, status, amount, currency, expires_at, was_extended, close_reason, closed_at,
       statement_timestamp()
  from orders_order
 where id = (select order_id from payments_payment
              where number = 'P' || upper(left(md5('$batch payment :nth'), 23)) and channel = 'wechat')
   for update
\gset
select id as payment_id, number as payment_number, status, amount, currency, channel_number, dead_at, is_unsure
  from payments_payment where order_id = :order_id and channel = 'wechat' for update
\gset
select id, receipt_class, payment_id, amount, currency
  from payments_receipt where channel = 'wechat' and channel_number = '$batch-:nth' for update;
update payments_payment set status = 'PAID', channel_number = '$batch-:nth', is_unsure = false where id = :payment_id;
update orders_order set status = 'READY_FOR_SHIPMENT', version = version + 1 where id = :order_id;
insert into payments_receipt (channel, channel_number, number, payment_id, order_id, receipt_class, amount, currency,
                              source, paid_at)
values ('wechat', '$batch-:nth', ':payment_number', :payment_id, :order_id, 'settled', 12900, 'CNY',
        'CALLBACK', statement_timestamp());
insert into shop_event (order_number, subject_kind, subject, from_status, to_status, source, actor, note)
values (':order_number', 'payment', ':payment_number', 'PAYING', 'PAID', 'CALLBACK', '', '{"channel": "wechat"}'),
       (':order_number', 'order', ':order_number', 'UNPAID', 'READY_FOR_SHIPMENT', 'CALLBACK', '', '{}');
insert into shop_businessevent (number, stream, type, subject, data)
values ('V' || upper(left(md5('$batch settled :nth'), 23)), ':order_number', 'payment.settled', ':payment_number',
        jsonb_build_object('payment', ':payment_number', 'channel', 'wechat', 'scene', 'qr', 'trade', '$batch-:nth',
                           'class', 'settled', 'amount', 12900, 'currency', 'CNY',
                           'paid_at', statement_timestamp(), 'source', 'CALLBACK')),
       ('V' || upper(left(md5('$batch paid :nth'), 23)), ':order_number', 'order.paid', ':order_number',
        '{"status": "READY_FOR_SHIPMENT", "amount": 12900, "currency": "CNY", "version": 4}');
delete from shop_alarm
 where (kind, subject) in (('query_payment', ':payment_number'), ('expire_order', ':order_number'));
insert into shop_alarm (kind, subject, due_at, last_at, attempts)
values ('follow_up', ':order_number', statement_timestamp() + interval '5 seconds', null, 0)
    on conflict (kind, subject) do update set due_at = excluded.due_at, last_at = excluded.last_at;
insert into django_q_ormq (key, payload, lock) values ('nodrop', '$message', statement_timestamp());
insert into payments_callback (channel, message_id, kind, number, payment_id, headers, body, report, taken_at)
values ('wechat', '$batch message :nth', 'TRANSACTION.SUCCESS', ':payment_number', :payment_id, '$headers', '$body',
        '$report', statement_timestamp());
commit;
