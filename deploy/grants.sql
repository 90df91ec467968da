-- The rights that a node needs in Postgres, and nothing else; docs/rights.md explains them. The role that owns the database and
-- runs the migrations runs this file after them, and again after an upgrade of the kernel:
--
--   psql "$OWNER_URL" -v ON_ERROR_STOP=1 -v role=service -v database=aftercommit -f deploy/grants.sql
--
-- The role must exist (create role service login password '...'). Its nodes have RUN_MIGRATIONS=false.

begin;

-- A role that may connect can use up connections, memory for locks, and disk: no other grant prevents that.
revoke connect, temporary on database :"database" from public;
grant connect on database :"database" to :"role";

-- Databases created before Postgres 15 let every role create functions here, which are then in the search path of others.
revoke create on schema public from public;
grant usage on schema public, aftercommit_kernel to :"role";

-- The installation's id (its namespace in Redis) and its secret.
grant select on aftercommit_kernel.installation to :"role";

-- The outbox and its numbering. LOCK TABLE needs UPDATE on the table, which has no columns.
grant select, insert (type, payload), update (position, numbering_id, numbered_at), delete
  on aftercommit_kernel.outbox_message to :"role";
grant select, update (position, numbering_id) on aftercommit_kernel.journal_head to :"role";
grant select, insert, update (branch) on aftercommit_kernel.journal_branch to :"role";
grant update on aftercommit_kernel.numbering_lock to :"role";

-- The durable event handlers.
grant select, insert, update (position) on aftercommit_kernel.event_handler to :"role";
grant select, insert, update, delete on aftercommit_kernel.event_delivery to :"role";

revoke execute on all functions in schema aftercommit_kernel from public;
grant execute on function
  aftercommit_kernel.current_epoch,
  aftercommit_kernel.number_outbox,
  aftercommit_kernel.number_before_commit,
  aftercommit_kernel.read_journal,
  aftercommit_kernel.begin_epoch
  to :"role";

-- The modules' tables, and those that later migrations create. Identity columns need no right of their own. A serial column needs
-- USAGE on its sequence, which you would have to add.
grant select, insert, update, delete on all tables in schema public to :"role";
alter default privileges in schema public grant select, insert, update, delete on tables to :"role";

-- A node reads which migrations have been applied. It must not write here: a role that may can hold the migrations' lock.
revoke all on public.migrations from :"role";
grant select on public.migrations to :"role";

commit;
