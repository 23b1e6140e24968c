-- Facts that wait for a partition that takes nothing stand apart from the others, so
-- that no look reads past them. An older booker reads and deletes all by id, as before.

-- +goose Up
ALTER TABLE facts
    ADD COLUMN lane VARCHAR(120) NOT NULL DEFAULT '',    -- topic/partitions/partition; '': it waits for nothing
    ADD KEY facts_lane (lane, id);
