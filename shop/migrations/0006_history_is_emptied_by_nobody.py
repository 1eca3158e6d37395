from django.db import migrations

REFUSE = """
create or replace function refuse_to_change_history() returns trigger language plpgsql as $$
begin
    raise exception 'history is append-only: % of % refused', lower(tg_op), tg_table_name
        using errcode = 'restrict_violation';
end $$;
"""
# As it was made: a session that said so might empty its tables.
ALLOW = """
create or replace function refuse_to_change_history() returns trigger language plpgsql as $$
begin
    if tg_op = 'TRUNCATE' and current_setting('nodrop.may_forget', true) = 'on' then
        return null;
    end if;
    raise exception 'history is append-only: % of % refused', lower(tg_op), tg_table_name
        using errcode = 'restrict_violation';
end $$;
"""


class Migration(migrations.Migration):
    dependencies = [("shop", "0005_idempotencykey")]
    operations = [migrations.RunSQL(REFUSE, ALLOW)]
