-- What a node needs in Postgres, and nothing else: docs/rights.md says why. Run after the migrations, by the role that runs
-- them and owns the database, and again after an upgrade of the kernel:
--
--   psql "$OWNER_URL" -v ON_ERROR_STOP=1 -v role=service -v database=aftercommit -f deploy/grants.sql
--
-- The role is there already (create role service login password '...'), and its nodes have RUN_MIGRATIONS=false.

begin;

-- Whoever may connect can use up what Postgres grants to all: connections, locks, disk.
revoke connect, temporary on database :"database" from public;
grant connect on database :"database" to :"role";

-- Databases that come from before Postgres 15 let everybody create in it, and so put functions into others' search path.
revoke create on schema public from public;
grant usage on schema public, aftercommit_kernel to :"role";

-- Who this installation is, and its secret.
grant select on aftercommit_kernel.installation to :"role";

-- The outbox and its numbering. The lock takes UPDATE, on a table without columns.
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

-- The modules' tables, and those of migrations to come. Identity columns need no right of their own; a serial column needs
-- USAGE on its sequence.
grant select, insert, update, delete on all tables in schema public to :"role";
alter default privileges in schema public grant select, insert, update, delete on tables to :"role";

-- A node looks up which migrations have been applied. Whoever may write here holds the migrations' lock.
revoke all on public.migrations from :"role";
grant select on public.migrations to :"role";

commit;
