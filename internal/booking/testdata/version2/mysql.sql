CREATE TABLE `admissions` (
  `id` varchar(100) NOT NULL,
  `admitted_at_us` bigint(20) NOT NULL,
  `created_ms` bigint(20) NOT NULL,
  `hold` varchar(16) NOT NULL,
  `booking` varchar(16) NOT NULL,
  `spent_ms` bigint(20) NOT NULL,
  PRIMARY KEY (`id`),
  KEY `admissions_created` (`created_ms`)
) ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin;
CREATE TABLE `booked_seats` (
  `room` varchar(63) NOT NULL,
  `seat` varchar(8) NOT NULL,
  `hold` varchar(16) NOT NULL,
  PRIMARY KEY (`room`,`seat`)
) ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin;
CREATE TABLE `bookings` (
  `hold` varchar(16) NOT NULL,
  `admission` varchar(100) NOT NULL,
  `room` varchar(63) NOT NULL,
  `payment` varchar(64) NOT NULL,
  `booked_ms` bigint(20) NOT NULL,
  `captured_ms` bigint(20) NOT NULL,
  PRIMARY KEY (`hold`),
  UNIQUE KEY `bookings_admission` (`admission`),
  KEY `bookings_captured` (`captured_ms`,`booked_ms`)
) ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin;
CREATE TABLE `holds` (
  `id` varchar(16) NOT NULL,
  `admission` varchar(100) NOT NULL,
  `room` varchar(63) NOT NULL,
  `seats` varchar(1000) NOT NULL,
  `state` varchar(10) NOT NULL,
  `until_ms` bigint(20) NOT NULL,
  `ended_ms` bigint(20) NOT NULL,
  PRIMARY KEY (`id`),
  KEY `holds_until` (`state`,`until_ms`),
  KEY `holds_ended` (`state`,`ended_ms`)
) ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin;
CREATE TABLE `outbox` (
  `id` bigint(20) NOT NULL AUTO_INCREMENT,
  `type` varchar(64) NOT NULL,
  `body` varchar(4000) NOT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin;
CREATE TABLE `room_events` (
  `room` varchar(63) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `epoch` varchar(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  `created_ms` bigint(20) NOT NULL,
  `rev` bigint(20) NOT NULL,
  `gone_ms` bigint(20) NOT NULL,
  `told` bigint(20) NOT NULL,
  `title` varchar(120) NOT NULL,
  `venue` varchar(120) NOT NULL,
  `starts_ms` bigint(20) NOT NULL,
  `accent` varchar(7) NOT NULL,
  `logo` blob NOT NULL,
  PRIMARY KEY (`room`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE `seats` (
  `room` varchar(63) NOT NULL,
  `id` varchar(8) NOT NULL,
  `state` varchar(6) NOT NULL,
  `hold` varchar(16) NOT NULL,
  PRIMARY KEY (`room`,`id`)
) ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin;
CREATE TABLE `stock` (
  `room` varchar(63) NOT NULL,
  `seats` bigint(20) NOT NULL,
  `booked` bigint(20) NOT NULL,
  PRIMARY KEY (`room`)
) ENGINE=InnoDB DEFAULT CHARSET=ascii COLLATE=ascii_bin;
CREATE TABLE `waitroom_migrations` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `version_id` bigint(20) NOT NULL,
  `is_applied` tinyint(1) NOT NULL,
  `tstamp` datetime DEFAULT current_timestamp(),
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO waitroom_migrations (id, version_id, is_applied, tstamp) VALUES (1, 0, 1, '2026-11-22 05:00:00');
INSERT INTO waitroom_migrations (id, version_id, is_applied, tstamp) VALUES (2, 1, 1, '2026-11-22 05:00:00');
INSERT INTO waitroom_migrations (id, version_id, is_applied, tstamp) VALUES (3, 2, 1, '2026-11-22 05:00:00');
