from django.db import migrations

REFUSE = """
create function refuse_to_unpay() returns trigger language plpgsql as $$
begin
    raise exception 'payment % is paid, and nothing ever leaves PAID', old.number
        using errcode = 'restrict_violation';
end $$;
create trigger paid_stays_paid before update of status on payments_payment
    for each row when (old.status = 'PAID' and new.status is distinct from 'PAID')
    execute function refuse_to_unpay();

create function refuse_to_forget_money() returns trigger language plpgsql as $$
begin
    raise exception 'a receipt is never deleted: % %', old.channel, old.channel_number
        using errcode = 'restrict_violation';
end $$;
create trigger receipts_are_kept before delete on payments_receipt
    for each row execute function refuse_to_forget_money();
"""
ALLOW = """
drop trigger paid_stays_paid on payments_payment;
drop function refuse_to_unpay();
drop trigger receipts_are_kept on payments_receipt;
drop function refuse_to_forget_money();
"""


class Migration(migrations.Migration):
    dependencies = [("payments", "0001_initial")]
    operations = [migrations.RunSQL(REFUSE, ALLOW)]
