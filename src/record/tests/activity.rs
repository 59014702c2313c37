//! Azure's Activity log, in every form that it comes in.

use super::*;

/// The Activity log as a diagnostic setting writes it.
fn activity() -> Value {
    json!({
        "time": "2026-01-22T18:15:02.387Z", "resourceId": "/SUBSCRIPTIONS/5AB/RESOURCEGROUPS/RG-A/PROVIDERS/MICROSOFT.WEB/SITES/SHOP",
        "operationName": "MICROSOFT.WEB/SITES/CONFIG/WRITE", "category": "Administrative", "resultType": "Success", "resultSignature": "Succeeded.",
        "callerIpAddress": "192.0.2.7", "correlationId": "c", "level": "Information", "tenantId": "T",
        "identity": {"claims": {"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": "alice@example.com", "http://schemas.microsoft.com/identity/claims/objectidentifier": "a-1", "appid": "p"}},
        "properties": {"statusCode": "OK", "eventCategory": "Administrative", "entity": "x"},
    })
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn azures_activity_log_is_read_in_every_spelling() {
    let with = |name: &str, value: Value| {
        let mut record = activity();
        record[name] = value;
        record
    };
    for (word, result, state) in [
        ("Start", Some("started"), None),
        ("Started", Some("started"), None),
        ("Accepted", Some("accepted"), None),
        ("Success", Some("success"), None),
        ("Succeeded", Some("success"), None),
        ("Failure", Some("failure"), None),
        ("Failed", Some("failure"), None),
        ("Active", None, Some("Active")),
        ("Updated", None, Some("Updated")),
        ("Resolved", None, Some("Resolved")),
    ] {
        let read = read(&with("resultType", json!(word)));
        assert_eq!((read.result.as_deref(), read.state.as_deref()), (result, state), "{word}");
    }
    for category in azure_activity::CATEGORIES {
        assert_eq!(read(&with("category", json!(category))).dialect, Dialect::AzureActivity, "{category}");
    }
    let rest = json!({
        "operationName": {"value": "Microsoft.Web/sites/config/write", "localizedValue": "x"}, "category": {"value": "Administrative"},
        "status": {"value": "Succeeded"}, "eventTimestamp": "2026-01-22T18:15:02.387Z", "resourceId": "/subscriptions/5ab/resourceGroups/rg-a",
        "caller": "alice@example.com", "eventDataId": "e-1", "properties": {"message": "m"},
    });
    let columns = json!({
        "Type": "AzureActivity", "OperationNameValue": "MICROSOFT.WEB/SITES/CONFIG/WRITE", "CategoryValue": "Administrative", "ActivityStatusValue": "Success",
        "Caller": "alice@example.com", "CallerIpAddress": "192.0.2.7", "TimeGenerated": "2026-01-22T18:15:02.387Z", "TenantId": "workspace",
        "_ResourceId": "/subscriptions/5ab/x", "Properties": "{\"statusCode\":\"OK\"}", "Properties_d": {"statusCode": "OK"}, "EventDataId": "e-2",
    });
    for (what, record) in [("a diagnostic setting", activity()), ("the REST form", rest), ("columns", columns)] {
        let read = read(&record);
        assert_eq!((read.dialect, read.result.as_deref()), (Dialect::AzureActivity, Some("success")), "{what}");
        assert_eq!(read.actor.and_then(|actor| actor.upn).as_deref(), Some("alice@example.com"), "{what}");
        assert_eq!(read.time.unwrap().to_string(), "2026-01-22T18:15:02.387Z", "{what}");
        assert!(read.subscription.unwrap().eq_ignore_ascii_case("5ab"), "{what}");
        assert!(read.operation.unwrap().eq_ignore_ascii_case("microsoft.web/sites/config/write"), "{what}");
        assert_ne!(read.tenant.as_deref(), Some("workspace"), "{what}");
    }
    holds([
        (
            "an application's token",
            with("identity", json!({"claims": {"appid": "p", "oid": "sp-1"}})),
            "/actor/type",
            json!("app"),
        ),
        (
            "an identity that is text",
            with("identity", json!("Microsoft.Advisor")),
            "/actor/name",
            json!("Microsoft.Advisor"),
        ),
        (
            "properties as text",
            with("properties", json!("{\"statusCode\":\"OK\"}")),
            "/details/statusCode",
            json!("OK"),
        ),
        ("no id: the correlation is none", activity(), "/problems/0/code", json!("id-missing")),
        (
            "PIM for Azure's people stand beside its own",
            with(
                "properties",
                json!({"CallerInfo": "{\"UserPrincipalName\":\"bob@example.com\"}", "SubjectUpn": "carol@example.com"}),
            ),
            "/actor/upn",
            json!("bob@example.com"),
        ),
        (
            "a role is given to a person",
            with(
                "properties",
                json!({"requestbody": "{\"Properties\":{\"PrincipalId\":\"u-9\",\"PrincipalType\":\"User\"}}"}),
            ),
            "/targets/0/id",
            json!("u-9"),
        ),
    ]);
}

#[test]
fn a_row_of_the_activity_log_is_known_by_its_code_and_by_its_localised_text() {
    let code = "MICROSOFT.AUTHORIZATION/ROLEASSIGNMENTS/DELETE";
    let row = json!({
        "Type": "AzureActivity", "TimeGenerated": "2026-01-22T18:15:02Z", "OperationName": "Delete role assignment",
        "OperationNameValue": code, "CategoryValue": "Administrative", "Caller": "alice@example.com",
    });
    let record = read(&row);
    assert_eq!((record.operation.as_deref(), record.activity.as_deref()), (Some(code), Some("Delete role assignment")));
    let text = row.to_string();
    let Glance::Head(head) = glance(&text) else { panic!("it tells its names") };
    assert_eq!((head.operation.as_deref(), head.activity.as_deref()), (Some(code), Some("Delete role assignment")));
    let mut only = row.clone();
    only.as_object_mut().unwrap().remove("OperationNameValue");
    assert_eq!(read(&only).operation.as_deref(), Some("Delete role assignment"), "the text where there is no code");
    let mut same = row.clone();
    same["OperationName"] = json!(code);
    assert_eq!(read(&same).activity, None, "one name is told once");
    let mut alert = row;
    alert["OperationName"] = json!("Activate alert");
    alert["OperationNameValue"] = json!("MICROSOFT.SECURITY/LOCATIONS/ALERTS/ACTIVATE/ACTION");
    assert_eq!(read(&alert).dialect, Dialect::DefenderAlert, "known by its code, in whatever language");
}

#[test]
fn the_token_of_the_activity_log_may_be_text() {
    let identity = json!({
        "authorization": {"evidence": {"role": "Owner", "principalId": "p"}},
        "claims": {"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn": "alice@example.com", "name": "Alice"},
    });
    let mut record = activity();
    record["identity"] = identity.clone();
    let as_object = read(&record);
    record["identity"] = json!(identity.to_string());
    let as_text = read(&record);
    assert_eq!(as_text.actor.as_ref().unwrap().upn.as_deref(), Some("alice@example.com"));
    assert_eq!((&as_text.actor, &as_text.details), (&as_object.actor, &as_object.details));
    record["identity"] = json!("{\"claims\":{}}");
    let nobody = read(&record).actor.and_then(|actor| actor.name.or(actor.upn));
    assert_eq!(nobody, None, "a token that names nobody is no name");
}

#[test]
fn the_role_is_read_wherever_the_authorization_stands() {
    let authorization = json!({"scope": "/x", "evidence": {"role": "Owner", "principalId": "p-1"}});
    let with = |name: &str, value: Value| {
        let mut record = activity();
        record["identity"] = Value::Null;
        record[name] = value;
        record
    };
    holds([
        ("an object", with("identity", json!({"authorization": authorization})), "/details/role", json!("Owner")),
        (
            "text",
            with("identity", json!({"authorization": authorization.to_string()})),
            "/details/role",
            json!("Owner"),
        ),
        (
            "all of it text",
            with("identity", json!(json!({"authorization": authorization}).to_string())),
            "/details/role",
            json!("Owner"),
        ),
        ("a column", with("Authorization", json!(authorization.to_string())), "/details/role", json!("Owner")),
        ("a typed column", with("Authorization_d", authorization.clone()), "/details/role", json!("Owner")),
        ("the REST form", with("authorization", authorization.clone()), "/details/role", json!("Owner")),
        ("who had it", with("Authorization", json!(authorization.to_string())), "/actor/id", json!("p-1")),
    ]);
}

#[test]
fn an_account_of_another_provider_has_no_principal_name_here() {
    let claims = |name: &str| {
        let mut record = activity();
        record["identity"] = json!({"claims": {"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name": name, "oid": "d-1", "appid": "p"}});
        record
    };
    let guest = "dana_example.net#EXT#@example.onmicrosoft.com";
    let personal = "live.com#dana@example.com";
    let mut with_address = claims(personal);
    with_address["identity"]["claims"]["http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress"] =
        json!("Dana@example.com");
    holds([
        ("nor is it where it stands alone beside that name", with_address, "/actor/upn", Value::Null),
        ("a personal account's address may be of any domain", claims(personal), "/actor/upn", Value::Null),
        ("it is a person's all the same", claims(personal), "/actor/type", json!("user")),
        ("known by the object id", claims(personal), "/actor/id", json!("d-1")),
        ("and shown by the address", claims(personal), "/actor/name", json!("dana@example.com")),
        ("a one-time code's too", claims("mail#dana@example.com"), "/actor/upn", Value::Null),
        ("a guest has a principal name", claims(guest), "/actor/upn", json!(guest)),
    ]);
}
