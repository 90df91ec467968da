export { type LocalStack, type LocalStackOptions, startLocalStack } from './local-stack.js'
export { type NodeOptions, type NodeProcess, startNode } from './node-process.js'
export { type RedisOptions, type RedisServer, type RedisStartOptions, startRedis } from './redis-server.js'
export { startTestStack } from './test-stack.js'
