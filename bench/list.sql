SELECT * FROM list_jobs('tenant-0001', page_size => 50);
