import 'reflect-metadata'
import { createDataSource } from '../ormconfig.js'
import { migrate } from '../src/kernel/persistence/migrate.js'

const databaseUrl = process.env.DATABASE_URL
if (!databaseUrl) {
  console.error('aftercommit: DATABASE_URL is not set')
  process.exit(2)
}
const dataSource = createDataSource({ databaseUrl, applicationName: 'migrate', timeoutMs: 600_000 })
try {
  await dataSource.initialize()
  const applied = await migrate(dataSource, databaseUrl)
  console.log(
    applied.length > 0 ? `Applied: ${applied.join(', ')}` : 'Nothing to apply: the schema is up to date',
  )
} catch (error) {
  console.error(`aftercommit: the migration failed: ${(error as Error).message}`)
  process.exitCode = 1
} finally {
  if (dataSource.isInitialized) await dataSource.destroy()
}
