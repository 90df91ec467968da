import type { MigrationInterface, QueryRunner } from 'typeorm'

export class Pricing1700000003000 implements MigrationInterface {
  name = 'Pricing1700000003000'

  async up(queryRunner: QueryRunner): Promise<void> {
    // With the collation "C", pages have the same order on every server.
    await queryRunner.query(`
      create table product (
        sku         text collate "C" constraint product_pkey primary key,
        name        text not null,
        category    text collate "C" not null,
        price_cents bigint not null
          constraint product_price_cents_check check (price_cents between 0 and 100000000000),
        currency    text not null,
        deleted_at  timestamptz,
        version     integer not null
      )`)
    await queryRunner.query(
      `create index product_category_sku_idx on product (category, sku) where deleted_at is null`,
    )
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`drop table product`)
  }
}
