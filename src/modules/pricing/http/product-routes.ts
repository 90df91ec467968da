import type { FastifyPluginAsync } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { RouteContext } from '../../../kernel/cqrs/module.js'
import { PageLimitParameter } from '../../../kernel/cqrs/page.js'
import { DomainError } from '../../../kernel/domain/index.js'
import { preconditionOf, refusePrecondition, sendRepresentation } from '../../../kernel/http/entity-tag.js'
import { problemAnswer } from '../../../kernel/http/openapi.js'
import { DeleteProduct } from '../commands/delete-product.js'
import { PutProduct } from '../commands/put-product.js'
import { RepriceCategory } from '../commands/reprice-category.js'
import { Category, Sku } from '../domain/values.js'
import { ProductPage, ProductView } from '../product-view.js'
import { GetProduct } from '../queries/get-product.js'
import { ListProducts } from '../queries/list-products.js'

const tags = ['pricing']
const params = z.strictObject({ sku: Sku })

export function productRoutes({ commandBus, queryBus }: RouteContext): FastifyPluginAsync {
  return async (fastify) => {
    const app = fastify.withTypeProvider<ZodTypeProvider>()

    app.put(
      '/products/:sku',
      {
        schema: {
          operationId: 'putProduct',
          tags,
          summary: 'Add or replace a product',
          params,
          body: PutProduct.schema.omit({ sku: true, precondition: true }),
          response: { 200: ProductView, 201: ProductView },
        },
      },
      async (request, reply) => {
        const { sku } = request.params
        const command = new PutProduct({ sku, ...request.body, precondition: preconditionOf(request) })
        const { created, product } = await commandBus.execute(command, request.consistency)
        if (created) reply.code(201).header('Location', `/products/${sku}`)
        return sendRepresentation(request, reply, product)
      },
    )

    app.get(
      '/products/:sku',
      {
        schema: {
          operationId: 'getProduct',
          tags,
          summary: 'One product',
          params,
          response: { 200: ProductView, 404: problemAnswer },
        },
      },
      async (request, reply) => {
        const { sku } = request.params
        const product = await queryBus.execute(new GetProduct({ sku }), request.consistency)
        if (!product) throw new DomainError('not-found', 'product-not-found', `There is no product ${sku}`)
        return sendRepresentation(request, reply, product)
      },
    )

    app.get(
      '/products',
      {
        schema: {
          operationId: 'listProducts',
          tags,
          summary: 'Products, all or of one category, in order of sku, by the page',
          querystring: z.strictObject({
            category: Category.optional(),
            limit: PageLimitParameter,
            after: Sku.optional(),
          }),
          response: { 200: ProductPage },
        },
      },
      (request) => queryBus.execute(new ListProducts(request.query), request.consistency),
    )

    app.delete(
      '/products/:sku',
      {
        schema: {
          operationId: 'deleteProduct',
          tags,
          summary: 'Remove a product',
          params,
          response: { 204: z.void(), 404: problemAnswer },
        },
      },
      async (request, reply) => {
        const { sku } = request.params
        const command = new DeleteProduct({ sku, precondition: preconditionOf(request) })
        await commandBus.execute(command, request.consistency)
        return reply.code(204).send()
      },
    )

    app.post(
      '/categories/:category/reprice',
      {
        schema: {
          operationId: 'repriceCategory',
          tags,
          summary: 'Raise or lower all prices of a category by a percentage',
          params: z.strictObject({ category: Category }),
          body: RepriceCategory.schema.omit({ category: true }),
          response: { 200: z.object({ repriced: z.number().int() }), 422: problemAnswer },
        },
      },
      (request) => {
        refusePrecondition(request)
        const { category } = request.params
        return commandBus.execute(
          new RepriceCategory({ category, percent: request.body.percent }),
          request.consistency,
        )
      },
    )
  }
}
