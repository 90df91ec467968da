import type { MigrationInterface, QueryRunner } from 'typeorm'

export class FeatureFlags1700000002000 implements MigrationInterface {
  name = 'FeatureFlags1700000002000'

  async up(queryRunner: QueryRunner): Promise<void> {
    // With the collation "C", pages have the same order on every server.
    await queryRunner.query(`
      create table feature_flag (
        name        text collate "C" constraint feature_flag_pkey primary key,
        enabled     boolean not null,
        description text,
        deleted_at  timestamptz,
        version     integer not null
      )`)
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`drop table feature_flag`)
  }
}
