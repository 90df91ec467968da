import 'reflect-metadata'
import { pino } from 'pino'
import { type Config, ConfigError, readConfig } from './config.js'

let config: Config
try {
  config = readConfig(process.env)
} catch (error) {
  if (!(error instanceof ConfigError)) throw error
  console.error(`aftercommit: ${error.message}`)
  process.exit(2)
}

const logger = pino({
  level: config.LOG_LEVEL,
  base: { node: config.NODE_NAME },
  // ioredis attaches the AUTH command, password and all, to its errors; TypeORM a statement's parameters.
  redact: [
    'err.command',
    'err.parameters',
    'err.driverError.parameters',
    'err.detail',
    'err.driverError.detail',
  ],
})
// Imported only now: ormconfig.ts makes a data source of DATABASE_URL as it is loaded, and would fail on a bad one
// before it is checked.
const { Node } = await import('./node.js')
const node = new Node(config, logger)

let stopping = false
async function stop(reason: string, exitCode: number): Promise<void> {
  if (stopping) return
  stopping = true
  logger.info({ reason }, 'stopping')
  // Whatever hangs, the process ends: an orchestrator would only kill it, and say less about why.
  setTimeout(() => {
    logger.error('stopping took too long')
    process.exit(1)
  }, config.SHUTDOWN_TIMEOUT_MS).unref()
  try {
    await node.stop()
    process.exit(exitCode)
  } catch (error) {
    logger.error({ err: error }, 'stopping failed')
    process.exit(1)
  }
}

process.on('SIGTERM', () => void stop('SIGTERM', 0))
process.on('SIGINT', () => void stop('SIGINT', 0))
process.on('uncaughtException', (error) => {
  logger.fatal({ err: error }, 'an error that nobody caught')
  void stop('uncaught exception', 1)
})
process.on('unhandledRejection', (error) => {
  logger.fatal({ err: error }, 'a rejection that nobody handled')
  void stop('unhandled rejection', 1)
})

try {
  await node.start()
} catch (error) {
  logger.fatal({ err: error }, 'the node cannot start')
  await stop('failed start', 1)
}
