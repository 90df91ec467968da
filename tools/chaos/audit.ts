import type { Mode } from './cluster.js'
import type { CommittedRecord, FinalJournalRecord } from './history.js'
import type { PostgresPair } from './postgres-pair.js'
import { doomed } from './traffic.js'

/** The name in the events of a backlog, so that they are not taken for events of writes. */
export const backlogName = 'backlog'

interface AuditedTable {
  readonly table: string
  readonly key: string
  readonly value: string
}

const tablesOf: Record<Mode, readonly AuditedTable[]> = {
  aftercommit: [
    { table: 'user_account', key: `'user ' || new.id`, value: 'new.name' },
    { table: 'product', key: `'product ' || new.sku`, value: `new.name || '@' || new.price_cents` },
    {
      table: 'feature_flag',
      key: `'flag ' || new.name`,
      value: `case when new.deleted_at is null then coalesce(new.description, '') else '' end`,
    },
  ],
  naive: [{ table: 'naive_user', key: `'user ' || new.id`, value: 'new.name' }],
}

/**
 * Makes the database record every committed version, in the same transaction. It also makes the database refuse some writes at
 * the last moment: at COMMIT, after all rows and events were written.
 */
export async function installAudit(postgres: PostgresPair, mode: Mode): Promise<void> {
  const statements = [
    'create schema chaos',
    `create table chaos.committed (
       place bigint generated always as identity, key text not null, version integer not null, value text not null)`,
    `create function chaos.refuse() returns trigger language plpgsql as $$
     begin
       perform pg_sleep(0.01);
       raise exception 'chaos: a doomed write is refused at its COMMIT';
     end $$`,
  ]
  for (const { table, key, value } of tablesOf[mode]) {
    statements.push(
      `create function chaos.note_${table}() returns trigger language plpgsql as $$
       begin
         insert into chaos.committed (key, version, value) values (${key}, new.version, ${value});
         return null;
       end $$`,
      `create trigger chaos_note after insert or update on ${table}
       for each row execute function chaos.note_${table}()`,
    )
  }
  const users = mode === 'naive' ? 'naive_user' : 'user_account'
  statements.push(
    `create constraint trigger chaos_refuse after update on ${users} deferrable initially deferred
     for each row when (new.name like '${doomed}%') execute function chaos.refuse()`,
  )
  for (const statement of statements) await postgres.rows(statement)
}

/** Every committed version, in order of key and version. */
export async function committedVersions(postgres: PostgresPair): Promise<CommittedRecord[]> {
  const rows = await postgres.rows<{ key: string; version: number; value: string }>(
    'select key, version, value from chaos.committed order by key, version, place',
  )
  return rows.map((row) => ({ kind: 'committed', ...row }))
}

/** Reads what has happened to the events. */
export async function journalState(postgres: PostgresPair): Promise<FinalJournalRecord> {
  const [row] = await postgres.rows<Omit<FinalJournalRecord, 'kind'>>(
    `with event as (
       select case when type like 'users.%' then 'user ' || (payload ->> 'userId')
                   when type like 'feature-flags.%' then 'flag ' || (payload ->> 'name') end as key
       from aftercommit_kernel.outbox_message
       where payload ->> 'name' is distinct from $1 and type <> 'users.welcome-message-written'
     ), event_count as (
       select key, count(*) as n from event where key is not null group by key
     ), version_count as (
       -- One event stands for all products of a category that is repriced.
       select key, count(*) as n from chaos.committed where key not like 'product %' group by key
     )
     select
       (select position from aftercommit_kernel.journal_head)::integer as head,
       (select count(*) from aftercommit_kernel.outbox_message where position is null)::integer as unnumbered,
       (select position from aftercommit_kernel.journal_head)::integer
         - (select count(position) from aftercommit_kernel.outbox_message)::integer as missing,
       (select count(*) from version_count full join event_count using (key)
        where version_count.n is distinct from event_count.n)::integer as mismatched,
       (select count(*) from aftercommit_kernel.outbox_message m
        where type = 'users.user-registered' and not exists (
          select from aftercommit_kernel.event_delivery d
          where d.position = m.position and d.state = 'done'))::integer
         + (select count(*) from user_account u
            where not exists (select from welcome_message w where w.user_id = u.id))::integer as undelivered`,
    [backlogName],
  )
  if (!row) throw new Error('The journal has no head')
  return { kind: 'final-journal', ...row }
}
