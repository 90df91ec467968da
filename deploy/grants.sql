-- Grants the rights that a node needs in Postgres, and no others. docs/rights.md explains them. Run this file as the role that
-- owns the database and runs the migrations: after the migrations, and again after an upgrade of the kernel.
--
--   psql "$OWNER_URL" -v ON_ERROR_STOP=1 -v role=service -v database=aftercommit -f deploy/grants.sql
--
-- The role must exist (create role service login password '...'). Set RUN_MIGRATIONS=false for its nodes.

begin;

-- Any role that can connect can use up connections, memory for locks, and disk. No other grant prevents that.
revoke connect, temporary on database :"database" from public;
grant connect on database :"database" to :"role";

-- In databases created before Postgres 15, every role can create functions here, which are then in the search path of others.
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

-- The tables of the modules, including those that later migrations create. Identity columns need no further right. A serial
-- column needs USAGE on its sequence, which you must add.
grant select, insert, update, delete on all tables in schema public to :"role";
alter default privileges in schema public grant select, insert, update, delete on tables to :"role";

-- A node reads which migrations have been applied. It must not write here, because a role that can write can also take the
-- lock of the migrations.
revoke all on public.migrations from :"role";
grant select on public.migrations to :"role";

commit;
