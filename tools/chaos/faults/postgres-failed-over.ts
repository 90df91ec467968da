import type { Fault } from './fault.js'

/** The primary is gone for good. Its standby, which has every acknowledged commit, is promoted. */
export const postgresFailedOver: Fault = {
  kind: 'Postgres failed over to its standby',
  lane: 'postgres',
  forNaive: false,
  async strike({ cluster, random, begins, hold }) {
    const { postgres, nodes } = cluster
    await postgres.standbyIsUpToDate()
    begins()
    // The nodes are cut off first, because later commits on the old primary would be lost with it.
    for (const { database } of nodes) database.cut()
    await postgres.failOver()
    await hold(random.integer(0, 1_000))
    for (const { database } of nodes) {
      database.plugInto(postgres.port)
      database.mend(false)
    }
    await hold(500)
    await postgres.addStandby()
  },
}
