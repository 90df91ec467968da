import type { MigrationInterface, QueryRunner } from 'typeorm'

/**
 * What the kernel keeps in Postgres: who this installation is, the outbox, the head of the journal, and the
 * state of the durable event handlers. The functions are the protocol's side of the database; each rule in
 * them is there because leaving it out loses or doubles a position (docs/adr/0002-positions.md).
 */
export class Kernel1700000000000 implements MigrationInterface {
  name = 'Kernel1700000000000'

  async up(queryRunner: QueryRunner): Promise<void> {
    // Not plain `aftercommit`: with a role of that name, "$user" in the search path would lead every other table
    // into this schema from the second migration on.
    await queryRunner.query(`create schema aftercommit_kernel`)

    await queryRunner.query(`
      create table aftercommit_kernel.installation (
        only_row  boolean primary key default true check (only_row),
        namespace uuid  not null default gen_random_uuid(),
        secret    bytea not null default sha256(
          uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
      )`)
    await queryRunner.query(`insert into aftercommit_kernel.installation default values`)

    await queryRunner.query(`
      create table aftercommit_kernel.outbox_message (
        id           bigint generated always as identity primary key,
        position     bigint,
        numbering_id uuid,
        type         text not null,
        payload      jsonb not null,
        occurred_at  timestamptz not null default clock_timestamp(),
        numbered_at  timestamptz,
        check ((position is null) = (numbering_id is null))
      ) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)`)
    // Two partial indexes: an event is in one of them at a time, so that a write adds to one.
    await queryRunner.query(
      `create index outbox_unnumbered on aftercommit_kernel.outbox_message (id) where position is null`,
    )
    await queryRunner.query(
      `create unique index outbox_numbered on aftercommit_kernel.outbox_message (position)
       where position is not null`,
    )

    // A value that a crash may still take back must not be seen by a load: with synchronous_commit off a
    // transaction is visible before it is durable.
    await queryRunner.query(`
      create function aftercommit_kernel.refuse_asynchronous_commit() returns trigger language plpgsql as $$
      begin
        if current_setting('synchronous_commit') = 'off' then
          raise exception 'aftercommit: events cannot be written with synchronous_commit = off';
        end if;
        return null;
      end $$`)
    await queryRunner.query(`
      create trigger refuse_asynchronous_commit before insert on aftercommit_kernel.outbox_message
      for each statement execute function aftercommit_kernel.refuse_asynchronous_commit()`)

    await queryRunner.query(`
      create table aftercommit_kernel.journal_head (
        only_row     boolean primary key default true check (only_row),
        position     bigint not null default 0,
        numbering_id uuid
      ) with (fillfactor = 10)`)
    await queryRunner.query(`insert into aftercommit_kernel.journal_head default values`)

    // Unlogged, as Postgres empties such a table when it recovers from a crash, even of one backend: just when it may
    // have lost positions that were given and not flushed (docs/adr/0014-positions-are-not-flushed.md).
    await queryRunner.query(`
      create unlogged table aftercommit_kernel.journal_branch (
        only_row boolean primary key default true check (only_row),
        branch   uuid not null default gen_random_uuid()
      )`)
    await queryRunner.query(`insert into aftercommit_kernel.journal_branch default values`)

    // What numbering and `begin_epoch` lock. Whoever may connect can take any advisory lock, and would stop every node with it;
    // to lock this table takes UPDATE on it. SHARE UPDATE EXCLUSIVE is the weakest mode that excludes itself, and costs what an
    // advisory lock does: it writes nothing, takes no transaction id, and leaves everybody's fast-path locks alone. A table of
    // its own, as VACUUM and ANALYZE take the same lock: one that is never written to gives autovacuum nothing to do.
    await queryRunner.query(`create table aftercommit_kernel.numbering_lock ()`)

    // Null while there is no branch. Fails on a standby (pg_current_wal_lsn), which must never answer a check. The object
    // ids differ in every copy of the database, by template or by dump: a staging copy on the same server must not share
    // keys and tokens. Only the server's start tells a disk that was set back from the one that it was, if every node has
    // been restarted, too: no node is left that remembers (docs/adr/0009-a-restart-of-postgres-is-an-epoch.md). In PL/pgSQL,
    // as Postgres up to 17 plans a function in SQL anew at each call: 80 of the 210 µs of a numbering. Those who call it have
    // set the search path.
    await queryRunner.query(`
      create function aftercommit_kernel.current_epoch() returns text language plpgsql stable as $$
      begin
        return left(encode(sha256(convert_to(concat_ws(':',
            (select system_identifier from pg_control_system()),
            left(pg_walfile_name(pg_current_wal_lsn()), 8),
            extract(epoch from pg_postmaster_start_time()),
            (select namespace from aftercommit_kernel.installation),
            (select oid from pg_database where datname = current_database()),
            'aftercommit_kernel.journal_head'::regclass::oid,
            branch), 'UTF8')), 'hex'), 16)
        from aftercommit_kernel.journal_branch;
      end $$`)

    // Without it, whoever may create functions in a schema of the service's search path could have it call his: a function of
    // the very types of a call is preferred to Postgres's own, where that converts or takes any number of arguments.
    const safePath = 'set search_path = pg_catalog, pg_temp'

    // Both functions look rows up by index, in its order, whatever the planner would rather do. They are planned once for a
    // connection, by the statistics of that moment: planned on an empty journal, a check read all of a journal of millions
    // later on. Left to itself, Postgres takes a plan for each call's own values for the better one, and plans every check
    // anew: 150 of 220 µs. Where nothing but a scan will do, as of tables of one row, Postgres up to 17 reckons with a price
    // for that at which it would compile the plan first, for 20 ms and more.
    const byIndexOnly = `${safePath} set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
      set enable_mergejoin = off set plan_cache_mode = force_generic_plan set jit = off`

    // Takes the lock for as long as its transaction lasts, hence one of its own; only `number_before_commit` may say otherwise.
    await queryRunner.query(`
      create function aftercommit_kernel.number_outbox(
        at_most integer, notify_channel text default null, before_commit boolean default false)
      returns table (head bigint, head_id uuid, numbered integer, epoch text, messages json)
      language plpgsql volatile ${byIndexOnly} as $$
      declare
        call_id uuid := gen_random_uuid();
        base bigint;
      begin
        -- Under REPEATABLE READ the snapshot would be older than the lock.
        if current_setting('transaction_isolation') <> 'read committed' then
          raise exception 'aftercommit: numbering needs READ COMMITTED';
        end if;
        if not before_commit then
          -- Inside somebody's transaction a position could be seen for rows that are not committed yet.
          if pg_current_xact_id_if_assigned() is not null then
            raise exception 'aftercommit: numbering needs a transaction of its own';
          end if;
          -- What it numbers is durable; the positions need not be, where a crash that takes them back ends their epoch,
          -- too. Aurora keeps unlogged tables through a crash: there, they could be given again to other events.
          if (select relpersistence = 'u' and to_regproc('pg_catalog.aurora_version') is null
              from pg_class where oid = 'aftercommit_kernel.journal_branch'::regclass) then
            perform set_config('synchronous_commit', 'off', true);
          elsif current_setting('synchronous_commit') in ('off', 'local') then
            perform set_config('synchronous_commit', 'on', true);
          end if;
        end if;
        lock table aftercommit_kernel.numbering_lock in share update exclusive mode;

        -- A new statement, hence a new snapshot: it sees what the previous holder of the lock numbered.
        select h.position, h.numbering_id, aftercommit_kernel.current_epoch() into strict base, head_id, epoch
        from aftercommit_kernel.journal_head h;
        if epoch is null then
          insert into aftercommit_kernel.journal_branch default values;
          epoch := aftercommit_kernel.current_epoch();
        end if;
        with unnumbered as (
          select m.id, row_number() over (order by m.id) as n
          from (select o.id from aftercommit_kernel.outbox_message o
                where o.position is null order by o.id limit at_most) m
        ), given as (
          update aftercommit_kernel.outbox_message o
          set position = base + u.n, numbering_id = call_id, numbered_at = clock_timestamp()
          from unnumbered u where o.id = u.id
          returning o.position, o.numbering_id, o.type, o.payload
        )
        -- Few rows go along at once, which saves the dispatcher another round trip. Many do not: writing them out
        -- would keep the lock from the next caller.
        select count(*),
               json_agg(json_build_array(g.position, g.numbering_id, g.type, g.payload) order by g.position)
                 filter (where g.position <= base + 64)
        into numbered, messages from given g;
        if numbered > 64 then
          messages := null;
        end if;

        head := base + numbered;
        if numbered > 0 then
          head_id := call_id;
          update aftercommit_kernel.journal_head h set position = head, numbering_id = call_id;
          -- Hints may be lost, but a full queue fails the COMMIT. Whoever may connect can fill it: he listens, and leaves a
          -- transaction open. It is 8 GB, or max_notify_queue_pages.
          if notify_channel is not null and pg_notification_queue_usage() < 0.5 then
            perform pg_notify(notify_channel, epoch || ' ' || head);
          end if;
        end if;
        return next;
      end $$`)

    // The last statement of a transaction that has written events, right before its COMMIT and sent along with it: what it
    // returns is only to be believed once that has been answered
    // (docs/adr/0016-a-quiet-node-numbers-in-the-transaction-itself.md). No row where it declines: the lock is held until
    // COMMIT has been flushed, and with a standby to wait for, until that has answered, or for ever. Nor where it fails:
    // what is wrong is said by the numbering after COMMIT, as ever, and the write is not to be refused for it.
    await queryRunner.query(`
      create function aftercommit_kernel.number_before_commit(at_most integer, notify_channel text)
      returns table (head bigint, head_id uuid, numbered integer, epoch text, messages json)
      language plpgsql volatile as $$
      begin
        if current_setting('synchronous_commit') = 'off'
          or current_setting('synchronous_standby_names') <> '' then
          return;
        end if;
        lock table aftercommit_kernel.numbering_lock in share update exclusive mode nowait;
        return query select * from aftercommit_kernel.number_outbox(at_most, notify_channel, before_commit => true);
      exception when others then
        return;
      end $$`)

    // STABLE, so that all of it is one snapshot: the caller's.
    await queryRunner.query(`
      create function aftercommit_kernel.read_journal(after bigint, at_most integer, places bigint[], place_ids uuid[])
      returns table (epoch text, head bigint, head_id uuid, after_id uuid, unnumbered boolean, contradicted boolean,
                     clock_ms float8, messages json)
      language plpgsql stable ${byIndexOnly} as $$
      begin
        return query
          select aftercommit_kernel.current_epoch(), h.position, h.numbering_id,
            (select m.numbering_id from aftercommit_kernel.outbox_message m where m.position = after),
            exists (select from aftercommit_kernel.outbox_message m where m.position is null),
            exists (select from unnest(places, place_ids) as place (position, numbering_id)
                    join aftercommit_kernel.outbox_message m using (position)
                    where m.numbering_id <> place.numbering_id),
            extract(epoch from clock_timestamp())::float8 * 1000,
            coalesce((
              select json_agg(json_build_array(m.position, m.numbering_id, m.type, m.payload) order by m.position)
              from (select o.position, o.numbering_id, o.type, o.payload from aftercommit_kernel.outbox_message o
                    where o.position > after order by o.position limit at_most) m), '[]')
          from aftercommit_kernel.journal_head h;
      end $$`)

    // Two histories share a timeline if a dump was restored into the same server, or a crash has taken back the end of
    // one. Whoever notices first starts a new branch; the others find the epoch changed and do nothing.
    await queryRunner.query(`
      create function aftercommit_kernel.begin_epoch(seen text)
      returns text language plpgsql volatile ${safePath} as $$
      begin
        -- Or a crash could take the new epoch back, and open the old one's keys again, where the table is logged.
        perform set_config('synchronous_commit', 'on', true);
        lock table aftercommit_kernel.numbering_lock in share update exclusive mode;
        insert into aftercommit_kernel.journal_branch default values on conflict do nothing;
        if aftercommit_kernel.current_epoch() = seen then
          update aftercommit_kernel.journal_branch set branch = gen_random_uuid();
        end if;
        return aftercommit_kernel.current_epoch();
      end $$`)

    await queryRunner.query(`
      create table aftercommit_kernel.event_handler (
        name     text primary key,
        position bigint not null
      )`)
    // No foreign keys: checking them locks, and so writes, a row of the outbox for each delivery. Position comes first
    // in the key, as retention asks by position alone.
    await queryRunner.query(`
      create table aftercommit_kernel.event_delivery (
        handler         text   not null,
        position        bigint not null,
        state           text   not null default 'pending' check (state in ('pending', 'done', 'dead')),
        attempts        integer not null default 0,
        next_attempt_at timestamptz not null default clock_timestamp(),
        last_error      text,
        finished_at     timestamptz,
        primary key (position, handler)
      ) with (autovacuum_vacuum_scale_factor = 0.02)`)
    await queryRunner.query(`
      create index event_delivery_due on aftercommit_kernel.event_delivery (handler, next_attempt_at)
      where state = 'pending'`)
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`drop schema aftercommit_kernel cascade`)
  }
}
