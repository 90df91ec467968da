import { backlogName } from '../audit.js'
import type { Fault } from './fault.js'

/** Several times, more events than one numbering call or one page can take appear at once, while writes continue. */
export const dispatchersOverloaded: Fault = {
  kind: 'dispatchers overloaded with a backlog',
  lane: 'postgres',
  forNaive: false,
  async strike({ cluster, random, begins, hold }) {
    const waves = random.integer(2, 4)
    const events = random.integer(3_000, 9_000)
    begins(`${waves} times ${events} events`)
    for (let wave = 0; wave < waves; wave++) {
      await cluster.postgres.rows(
        `insert into aftercommit_kernel.outbox_message (type, payload)
         select 'users.user-renamed', jsonb_build_object('userId', gen_random_uuid(), 'name', $1::text)
         from generate_series(1, $2::integer)`,
        [backlogName, events],
      )
      await hold(random.integer(0, 400))
    }
  },
}
