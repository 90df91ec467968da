import type { MigrationInterface, QueryRunner } from 'typeorm'

/**
 * What the kernel stores in Postgres: the identity of this installation, the outbox, the head of the journal, and the state of
 * the durable event handlers. The functions are the part of the protocol that runs in the database. Without any of their
 * rules, a position could be lost or given twice (docs/adr/0002-positions.md).
 */
export class Kernel1700000000000 implements MigrationInterface {
  name = 'Kernel1700000000000'

  async up(queryRunner: QueryRunner): Promise<void> {
    // It is not named `aftercommit`, because a role may have that name. "$user" in the search path would then put the tables
    // of all later migrations into this schema.
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
    // An event is in one of these two partial indexes at a time, so a write adds to only one.
    await queryRunner.query(
      `create index outbox_unnumbered on aftercommit_kernel.outbox_message (id) where position is null`,
    )
    await queryRunner.query(
      `create unique index outbox_numbered on aftercommit_kernel.outbox_message (position)
       where position is not null`,
    )

    // With synchronous_commit off, a transaction is visible before it is durable. A load could then cache a value that a crash
    // takes back.
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

    // Unlogged, because Postgres empties such a table when it recovers from a crash, even of one backend. That is when it may
    // have lost positions that were given but not flushed (docs/adr/0014-positions-are-not-flushed.md).
    await queryRunner.query(`
      create unlogged table aftercommit_kernel.journal_branch (
        only_row boolean primary key default true check (only_row),
        branch   uuid not null default gen_random_uuid()
      )`)
    await queryRunner.query(`insert into aftercommit_kernel.journal_branch default values`)

    // Numbering and `begin_epoch` lock this table. Any role that can connect could take an advisory lock and stop every node
    // with it. To lock this table, a role needs UPDATE on it. SHARE UPDATE EXCLUSIVE is the weakest mode that excludes
    // itself. It costs as little as an advisory lock: it writes nothing, takes no transaction id, and does not affect
    // fast-path locks. The table has no other use, because VACUUM and ANALYZE take the same lock, and autovacuum leaves an
    // unchanged table alone.
    await queryRunner.query(`create table aftercommit_kernel.numbering_lock ()`)

    // Returns null while there is no branch. It fails on a standby (pg_current_wal_lsn), which must never answer a check.
    // The object ids differ in every copy of the database, whether it was made from a template or a dump: a staging copy on
    // the same server must not share keys and tokens. After a disk was set back and every node was restarted, no node
    // remembers the former state, and only the start of the server differs
    // (docs/adr/0009-a-restart-of-postgres-is-an-epoch.md). It is written in PL/pgSQL because Postgres up to 17 plans an SQL
    // function at each call: 80 of the 210 µs of a numbering. Its callers have set the search path.
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

    // Otherwise, a role that can create functions in a schema of the service's search path could make the service call its
    // own. Postgres prefers a function with exactly the argument types of a call to its own function with conversions or
    // with any number of arguments.
    const safePath = 'set search_path = pg_catalog, pg_temp'

    // `number_outbox` and `read_journal` must find rows by index. They are planned once for a connection, with the
    // statistics of that moment. With a plan that was made on an empty journal, a check later read a whole journal of
    // millions. Without force_generic_plan, Postgres would plan every check again for its own values: 150 of 220 µs. Tables
    // of one row can only be scanned. With scans disabled, Postgres up to 17 estimates such a cost for them that it would
    // compile the plan with JIT, which takes 20 ms and more.
    const byIndexOnly = `${safePath} set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
      set enable_mergejoin = off set plan_cache_mode = force_generic_plan set jit = off`

    // It keeps the lock until its transaction ends, so it needs a transaction of its own, except for `number_before_commit`.
    await queryRunner.query(`
      create function aftercommit_kernel.number_outbox(
        at_most integer, notify_channel text default null, before_commit boolean default false)
      returns table (head bigint, head_id uuid, numbered integer, epoch text, messages json)
      language plpgsql volatile ${byIndexOnly} as $$
      declare
        call_id uuid := gen_random_uuid();
        base bigint;
      begin
        -- With REPEATABLE READ, the snapshot would be older than the lock.
        if current_setting('transaction_isolation') <> 'read committed' then
          raise exception 'aftercommit: numbering needs READ COMMITTED';
        end if;
        if not before_commit then
          -- In a transaction that has written, the caller would get positions of rows that are not committed yet. Others
          -- would wait for the lock until it ends.
          if pg_current_xact_id_if_assigned() is not null then
            raise exception 'aftercommit: numbering needs a transaction of its own';
          end if;
          -- The numbered events are durable. Their positions need not be, because a crash that takes positions back also ends
          -- their epoch. Aurora keeps unlogged tables after a crash, so there a position could be given to another event.
          if (select relpersistence = 'u' and to_regproc('pg_catalog.aurora_version') is null
              from pg_class where oid = 'aftercommit_kernel.journal_branch'::regclass) then
            perform set_config('synchronous_commit', 'off', true);
          elsif current_setting('synchronous_commit') in ('off', 'local') then
            perform set_config('synchronous_commit', 'on', true);
          end if;
        end if;
        lock table aftercommit_kernel.numbering_lock in share update exclusive mode;

        -- A new statement has a new snapshot, so it sees what the previous holder of the lock has numbered.
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
        -- A few rows are returned at once, which saves the dispatcher a round trip. Returning many would take time in which
        -- the next caller waits for the lock.
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
          -- Hints may be lost, but a full queue makes COMMIT fail. Any role that can connect can fill the queue if it listens
          -- and leaves a transaction open. The queue has 8 GB, or max_notify_queue_pages.
          if notify_channel is not null and pg_notification_queue_usage() < 0.5 then
            perform pg_notify(notify_channel, epoch || ' ' || head);
          end if;
        end if;
        return next;
      end $$`)

    // The last statement of a transaction that has written events, sent in one message with COMMIT. Its result counts only
    // once COMMIT has been answered (docs/adr/0016-a-quiet-node-numbers-in-the-transaction-itself.md). It returns no row if
    // it declines. It declines with a synchronous standby, because the lock is held until COMMIT is complete: until the
    // standby has answered, which may be never. It also returns no row if another call holds the lock, because a write must
    // not wait for that, or if it fails, because that is no reason to refuse the write. The numbering after COMMIT then reports
    // the error.
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

    // STABLE, so that all of it uses one snapshot, that of the calling statement.
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

    // Two histories can have the same epoch, for instance after rows were restored into the running database. The first node
    // that notices starts a new branch. The others find that the epoch has changed, and do nothing.
    await queryRunner.query(`
      create function aftercommit_kernel.begin_epoch(seen text)
      returns text language plpgsql volatile ${safePath} as $$
      begin
        -- Otherwise, where the table is logged, a crash could take the new epoch back, and make keys of the old one valid
        -- again.
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
    // It has no foreign keys: checking them would lock, and so write, a row of the outbox for each delivery. The position is
    // first in the key because retention searches by position alone.
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
