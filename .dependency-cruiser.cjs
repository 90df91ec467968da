/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'no-circular-imports',
      comment:
        'Files that import each other cannot be understood alone, and which of them is loaded first is an accident. ' +
        'Entities are an exception: an order and its lines refer to each other, within decorators that run later.',
      severity: 'error',
      from: { pathNot: '^src/modules/[^/]+/domain/' },
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'kernel-knows-no-module',
      comment: 'The kernel is what a clone keeps when it deletes the sample modules; it must not miss them.',
      severity: 'error',
      from: { path: '^src/kernel/' },
      to: { path: '^src/modules/' },
    },
    {
      name: 'domain-is-pure',
      comment:
        'Business rules must be readable and testable without a database, a bus or HTTP: a domain folder imports ' +
        'its own files, kernel/domain, and TypeORM for its decorators.',
      severity: 'error',
      from: { path: '^src/modules/([^/]+)/domain/' },
      to: { pathNot: ['^src/modules/$1/domain/', '^src/kernel/domain/', 'node_modules/typeorm/'] },
    },
    {
      name: 'kernel-domain-is-pure',
      comment: 'What every domain imports must not bring the rest of the kernel with it.',
      severity: 'error',
      from: { path: '^src/kernel/domain/' },
      to: { pathNot: ['^src/kernel/domain/', 'node_modules/(typeorm|zod)/'] },
    },
    {
      name: 'modules-talk-through-events',
      comment:
        'A module may know what another one announces, its domain events, and nothing else of it: otherwise ' +
        'neither can be changed, or deleted, alone.',
      severity: 'error',
      from: { path: '^src/modules/([^/]+)/' },
      to: {
        path: '^src/modules/([^/]+)/',
        pathNot: ['^src/modules/$1/', '^src/modules/[^/]+/domain/[^/]+-events\\.ts$'],
      },
    },
    {
      name: 'use-cases-know-no-http',
      comment:
        'Commands and queries also run from event handlers, schedules and tests. A header that only HTTP has belongs ' +
        'in a route, which makes a field of the command from it.',
      severity: 'error',
      from: { path: '^src/modules/[^/]+/(commands|queries|events|domain)/' },
      to: { path: '^src/kernel/http/' },
    },
    {
      name: 'only-journal-and-cache-know-redis',
      comment:
        'Redis only hurries. Whoever else talked to it would sooner or later decide something by what it says.',
      severity: 'error',
      from: { path: '^src/', pathNot: ['^src/kernel/(journal|cache)/'] },
      to: { path: 'node_modules/ioredis/' },
    },
    {
      name: 'modules-have-no-bare-database',
      comment:
        'A repository or a connection of its own could save a row and forget its event; modules use the unit of ' +
        'work and the database reader.',
      severity: 'error',
      from: { path: '^src/modules/' },
      to: { path: ['node_modules/pg/', '^ormconfig\\.ts$', '^src/kernel/persistence/connections\\.ts$'] },
    },
    {
      name: 'only-the-roots-wire',
      comment:
        'main.ts, node.ts and container.ts put things together; anything else that imports them has it backwards.',
      severity: 'error',
      from: { path: '^src/(kernel|modules)/' },
      to: { path: '^src/[^/]+\\.ts$' },
    },
    {
      name: 'tools-stay-outside',
      comment:
        'The service must run without the tools, which need packages that production does not install.',
      severity: 'error',
      from: { path: '^(src|migrations|ormconfig)' },
      to: { path: '^(tools|test|bench)/' },
    },
  ],
  options: {
    parser: 'swc',
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: { extensions: ['.ts', '.js'], conditionNames: ['import', 'node', 'default'] },
  },
}
