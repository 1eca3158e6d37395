from django.db import migrations

# Test suites empty their tables; they say so by a setting of their session. Nobody else may.
REFUSE = """
create function refuse_to_change_history() returns trigger language plpgsql as $$
begin
    if tg_op = 'TRUNCATE' and current_setting('nodrop.may_forget', true) = 'on' then
        return null;
    end if;
    raise exception 'history is append-only: % of % refused', lower(tg_op), tg_table_name
        using errcode = 'restrict_violation';
end $$;
create trigger events_are_append_only before update or delete on shop_event
    for each row execute function refuse_to_change_history();
create trigger events_are_kept before truncate on shop_event
    for each statement execute function refuse_to_change_history();
"""
ALLOW = """
drop trigger events_are_append_only on shop_event;
drop trigger events_are_kept on shop_event;
drop function refuse_to_change_history();
"""


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [migrations.RunSQL(REFUSE, ALLOW)]
