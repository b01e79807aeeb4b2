//! The demo is a client like any other, and its report is the truth.

use serde_json::json;

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_gives_the_same_business_outcome() {
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        let world = World::create().await;
        let day = ["demo", "--json", "--seed", "7", "--customers", "8", "--payments", "6"];
        let (status, report) = world.json_command(&day).await;
        assert!(status.success(), "{report}");
        assert_eq!(report["payments"]["replayed"], json!(1), "{report}");
        outcomes.push((report["payments"].clone(), report["ledger"]["entries"].clone()));
    }
    assert_eq!(outcomes[0], outcomes[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_data_set_is_compared_with_its_own_balances_and_its_broken_lines_are_named() {
    let world = World::create().await;
    let folder = world.folder().join("data");
    std::fs::create_dir(&folder).expect("the folder is writable");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("the folder is writable");
    write("client.asc", "\"client_id\";\"birth_number\";\"district_id\"\n1;\"706213\";18\n2;\"450204\";1\n");
    write(
        "disp.asc",
        "\"disp_id\";\"client_id\";\"account_id\";\"type\"\n1;1;7;\"OWNER\"\n2;2;8;\"OWNER\"\n3;2;7;\"DISPONENT\"\n",
    );
    write(
        "trans.asc",
        "\"trans_id\";\"account_id\";\"date\";\"type\";\"operation\";\"amount\";\"balance\";\"k_symbol\";\"bank\";\"account\"\n\
         1;7;930101;\"PRIJEM\";\"VKLAD\";700.00;700.00;\"\";;\n\
         2;7;930102;\"VYDAJ\";\"VYBER\";200.50;499.50;\"\";;\n\
         3;8;930102;\"PRIJEM\";\"PREVOD Z UCTU\";1000.00;1000.00;\"\";\"YZ\";123\n\
         4;8;930103;\"VYDAJ\";\"PREVOD NA UCET\";1200.00;-200.00;\"SIPO\";\"YZ\";123\n\
         5;7;930103;\"VYDAJ\";\"VYBER\";14.60;484.90;\"SLUZBY\";;\n\
         6;7;930104;\"PRIJE",
    );
    let folder = folder.to_str().expect("a path in UTF-8").to_owned();
    let (status, report) = world.json_command(&["demo", "--json", "--data", &folder]).await;
    assert!(status.success(), "{report}");
    assert_eq!(report["payments"]["completed"], json!(5));
    let replay = &report["replay"];
    assert_eq!((&replay["accountDays"], &replay["agreeing"]), (&json!(5), &json!(5)), "{replay}");
    assert_eq!(replay["skippedLines"][0]["line"], json!(7), "{replay}");
}
