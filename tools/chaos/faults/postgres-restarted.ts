import type { Fault } from './fault.js'

export const postgresRestarted: Fault = {
  kind: 'Postgres restarted',
  lane: 'postgres',
  forNaive: false,
  async strike({ cluster, random, begins }) {
    const crash = random.chance(0.5)
    begins(crash ? 'after a crash' : 'after a shutdown')
    await cluster.postgres.restart(crash, random.integer(0, 2_500))
    await cluster.postgres.standbyIsUpToDate()
  },
}
