SELECT * FROM describe_job('tenant-0001', :job);
