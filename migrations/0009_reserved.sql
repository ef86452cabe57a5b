-- Nothing: the number is kept free for a change that comes from another branch.
SELECT 1;
