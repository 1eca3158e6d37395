from django.db import migrations

# Asked when a transaction commits, of the rows as they are then: an order past UNPAID and CLOSED has exactly one settled
# receipt, of its own amount and of a payment that is PAID; the others have none. And what is being given back in full
# is not shipped.
GUARD = """
create function check_order_is_paid_for() returns trigger language plpgsql as $$
declare
    wanted_id bigint;
    found record;
    settled int;
    fitting int;
begin
    if tg_table_name = 'orders_order' then wanted_id := new.id;
    elsif tg_op = 'UPDATE' then wanted_id := coalesce(old.order_id, new.order_id);
    else wanted_id := new.order_id; end if;
    select number, status, amount, currency into found from orders_order where id = wanted_id;
    select count(*), count(*) filter (where receipt.amount = found.amount and receipt.currency = found.currency
                                        and payment.status = 'PAID')
      into settled, fitting
      from payments_receipt receipt left join payments_payment payment on payment.id = receipt.payment_id
     where receipt.order_id = wanted_id and receipt.receipt_class = 'settled';
    if found.status in ('UNPAID', 'CLOSED') then
        if settled > 0 then
            raise exception 'order % is % although a receipt settles it', found.number, found.status
                using errcode = 'check_violation';
        end if;
    elsif settled <> 1 or fitting <> 1 then
        raise exception 'order % is % without one settled receipt of its amount', found.number, found.status
            using errcode = 'check_violation';
    end if;
    return null;
end $$;
create constraint trigger order_is_paid_for after update of status, amount, currency on orders_order
    deferrable initially deferred for each row
    when (new.status is distinct from old.status or new.amount is distinct from old.amount
          or new.currency is distinct from old.currency)
    execute function check_order_is_paid_for();
create constraint trigger new_order_is_paid_for after insert on orders_order
    deferrable initially deferred for each row when (new.status <> 'UNPAID')
    execute function check_order_is_paid_for();
create constraint trigger receipt_pays_its_order after insert on payments_receipt
    deferrable initially deferred for each row when (new.receipt_class = 'settled')
    execute function check_order_is_paid_for();
create constraint trigger receipt_still_pays_its_order after update on payments_receipt
    deferrable initially deferred for each row
    when (new.receipt_class = 'settled' or old.receipt_class = 'settled')
    execute function check_order_is_paid_for();
create trigger receipts_are_not_emptied before truncate on payments_receipt
    for each statement execute function refuse_to_change_history();

create function refuse_to_ship_what_goes_back() returns trigger language plpgsql as $$
begin
    if exists (
        select from payments_receipt receipt
         where receipt.order_id = new.id and receipt.receipt_class = 'settled' and receipt.amount <= (
               select coalesce(sum(refund.amount), 0) from payments_refund refund
                where refund.receipt_id = receipt.id
                  and refund.status in ('PENDING_APPROVAL', 'REFUNDING', 'REFUNDED'))) then
        raise exception 'order % is being refunded in full and is not shipped', new.number
            using errcode = 'check_violation';
    end if;
    return null;
end $$;
create trigger refunded_order_is_not_shipped after update of status on orders_order
    for each row when (new.status = 'SHIPPED' and old.status = 'READY_FOR_SHIPMENT')
    execute function refuse_to_ship_what_goes_back();
"""
UNGUARD = """
drop trigger order_is_paid_for on orders_order;
drop trigger new_order_is_paid_for on orders_order;
drop trigger receipt_pays_its_order on payments_receipt;
drop trigger receipt_still_pays_its_order on payments_receipt;
drop trigger receipts_are_not_emptied on payments_receipt;
drop function check_order_is_paid_for();
drop trigger refunded_order_is_not_shipped on orders_order;
drop function refuse_to_ship_what_goes_back();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("payments", "0003_refunds_are_asked_for"),
        ("orders", "0002_supplied"),
        ("shop", "0002_events_are_append_only"),
    ]
    operations = [migrations.RunSQL(GUARD, UNGUARD)]
