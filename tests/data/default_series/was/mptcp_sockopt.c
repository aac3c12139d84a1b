
	do_getsockopts(&s, fd, ret, ret2);
	if (s.mptcpi_rcv_delta != (uint64_t)ret + 1)
		xerror("mptcpi_rcv_delta %" PRIu64 ", expect %" PRIu64, s.mptcpi_rcv_delta, ret + 1, s.mptcpi_rcv_delta - ret);

	/* be nice when running on top of older kernel */
	if (s.pkt_stats_avail) {
		if (s.last_sample.mptcpi_bytes_sent != ret2)
			xerror("mptcpi_bytes_sent %" PRIu64 ", expect %" PRIu64,
			       s.last_sample.mptcpi_bytes_sent, ret2,
			       s.last_sample.mptcpi_bytes_sent - ret2);
		if (s.last_sample.mptcpi_bytes_received != ret)
			xerror("mptcpi_bytes_received %" PRIu64 ", expect %" PRIu64,
			       s.last_sample.mptcpi_bytes_received, ret,
			       s.last_sample.mptcpi_bytes_received - ret);
		if (s.last_sample.mptcpi_bytes_acked != ret)
			xerror("mptcpi_bytes_acked %" PRIu64 ", expect %" PRIu64,
			       s.last_sample.mptcpi_bytes_acked, ret2,
			       s.last_sample.mptcpi_bytes_acked - ret2);
	}

	close(fd);
