import { clockShifted } from './clock-shifted.js'
import { connectionsCut, connectionsDelayed } from './connections-troubled.js'
import { allCutFromRedis, nodeCutFromRedis } from './cut-from-redis.js'
import { dispatchersOverloaded } from './dispatchers-overloaded.js'
import type { Fault } from './fault.js'
import { killedAfterCommit, killedAfterNumbering } from './killed-at-point.js'
import { nodeCutOff } from './node-cut-off.js'
import { nodeKilled } from './node-killed.js'
import { nodePaused } from './node-paused.js'
import { postgresFailedOver } from './postgres-failed-over.js'
import { postgresRestarted } from './postgres-restarted.js'
import { redisFailedOver } from './redis-failed-over.js'
import { redisHung } from './redis-hung.js'
import { redisRestartedEmpty } from './redis-restarted-empty.js'
import { redisSetBack } from './redis-set-back.js'
import { subscribersKilled } from './subscribers-killed.js'

/** All kinds of faults. Each file has one kind or two. */
export const allFaults: readonly Fault[] = [
  nodeKilled,
  nodePaused,
  killedAfterCommit,
  killedAfterNumbering,
  clockShifted,
  nodeCutOff,
  nodeCutFromRedis,
  allCutFromRedis,
  subscribersKilled,
  redisRestartedEmpty,
  redisFailedOver,
  redisSetBack,
  redisHung,
  postgresRestarted,
  postgresFailedOver,
  dispatchersOverloaded,
  connectionsCut,
  connectionsDelayed,
]
