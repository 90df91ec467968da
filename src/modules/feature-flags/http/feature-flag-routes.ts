import type { FastifyPluginAsync } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { RouteContext } from '../../../kernel/cqrs/module.js'
import { PageLimitParameter } from '../../../kernel/cqrs/page.js'
import { DomainError } from '../../../kernel/domain/index.js'
import { preconditionOf, sendRepresentation } from '../../../kernel/http/entity-tag.js'
import { problemAnswer } from '../../../kernel/http/openapi.js'
import { DeleteFeatureFlag } from '../commands/delete-feature-flag.js'
import { PutFeatureFlag } from '../commands/put-feature-flag.js'
import { FeatureFlagName } from '../domain/values.js'
import { FeatureFlagPage, FeatureFlagView } from '../feature-flag-view.js'
import { GetFeatureFlag } from '../queries/get-feature-flag.js'
import { ListFeatureFlags } from '../queries/list-feature-flags.js'

const tags = ['feature-flags']
const params = z.strictObject({ name: FeatureFlagName })

export function featureFlagRoutes({ commandBus, queryBus }: RouteContext): FastifyPluginAsync {
  return async (fastify) => {
    const app = fastify.withTypeProvider<ZodTypeProvider>()

    app.put(
      '/feature-flags/:name',
      {
        schema: {
          operationId: 'putFeatureFlag',
          tags,
          summary: 'Create or replace a feature flag',
          params,
          body: PutFeatureFlag.schema.omit({ name: true, precondition: true }),
          response: { 200: FeatureFlagView, 201: FeatureFlagView },
        },
      },
      async (request, reply) => {
        const { name } = request.params
        const command = new PutFeatureFlag({ name, ...request.body, precondition: preconditionOf(request) })
        const { created, flag } = await commandBus.execute(command, request.consistency)
        if (created) reply.code(201).header('Location', `/feature-flags/${name}`)
        return sendRepresentation(request, reply, flag)
      },
    )

    app.get(
      '/feature-flags/:name',
      {
        schema: {
          operationId: 'getFeatureFlag',
          tags,
          summary: 'One feature flag',
          params,
          response: { 200: FeatureFlagView, 404: problemAnswer },
        },
      },
      async (request, reply) => {
        const { name } = request.params
        const flag = await queryBus.execute(new GetFeatureFlag({ name }), request.consistency)
        if (!flag)
          throw new DomainError('not-found', 'feature-flag-not-found', `There is no feature flag ${name}`)
        return sendRepresentation(request, reply, flag)
      },
    )

    app.get(
      '/feature-flags',
      {
        schema: {
          operationId: 'listFeatureFlags',
          tags,
          summary: 'Feature flags in order of name, by the page',
          querystring: z.strictObject({
            limit: PageLimitParameter,
            after: FeatureFlagName.optional(),
          }),
          response: { 200: FeatureFlagPage },
        },
      },
      (request) => queryBus.execute(new ListFeatureFlags(request.query), request.consistency),
    )

    app.delete(
      '/feature-flags/:name',
      {
        schema: {
          operationId: 'deleteFeatureFlag',
          tags,
          summary: 'Delete a feature flag',
          params,
          response: { 204: z.void(), 404: problemAnswer },
        },
      },
      async (request, reply) => {
        const { name } = request.params
        const command = new DeleteFeatureFlag({ name, precondition: preconditionOf(request) })
        await commandBus.execute(command, request.consistency)
        return reply.code(204).send()
      },
    )
  }
}
